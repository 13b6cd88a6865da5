"""Other engines: each is fed by a script that runs in an environment of its own."""
