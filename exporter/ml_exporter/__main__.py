"""`python -m ml_exporter`."""

import sys

from ml_exporter.cli import main

sys.exit(main())
