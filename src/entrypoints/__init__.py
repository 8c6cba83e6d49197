"""What runs: the HTTP edge, the command line and the roles. The only place where adapters are put together."""
