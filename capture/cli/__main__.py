"""``python -m fluxcap.capture.cli``: the command line."""

from fluxcap.capture.cli.app import main

if __name__ == "__main__":
    main()
