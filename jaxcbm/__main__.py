"""`python -m jaxcbm`: the command line."""

import sys

from jaxcbm.cli import main

sys.exit(main())
