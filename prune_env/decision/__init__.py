"""What is seen, said and paid: statistics, actions, observations, rewards and clocks."""
