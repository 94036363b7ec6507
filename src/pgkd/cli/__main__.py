"""``python -m pgkd.cli``."""

from pgkd.cli.app import main

if __name__ == "__main__":
    main()
