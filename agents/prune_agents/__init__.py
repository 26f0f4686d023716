"""The bundled agents: ordinary users of prune_env's public interface."""
