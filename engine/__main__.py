"""`python -m engine` is `crashtape`."""

from engine.cli import main

if __name__ == "__main__":
    main()
