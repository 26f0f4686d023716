"""`python -m prune_env` is the program `prune-env`."""

from prune_env.experiment.cli import main

if __name__ == "__main__":
    main()
