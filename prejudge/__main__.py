"""``python -m prejudge`` is the command ``prejudge``."""

from prejudge.cli import main

if __name__ == "__main__":
    main()
