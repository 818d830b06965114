"""`python -m mura_app` is the command `mura`."""

from mura_app.main import main

if __name__ == "__main__":
    main()
