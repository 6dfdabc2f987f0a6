"""`python -m ChiSepExtension …` is the same as `chisep …`."""

import sys

from .cli import main

sys.exit(main())
