"""`netdsl`, and `python -m netdsl`."""

import gc

gc.disable()  # one short run: collecting a few hundred thousand live objects over and over costs a fifth of it

from netdsl.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
