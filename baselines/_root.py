"""Imported first by the scripts of this folder: it lets them find nsp_bert and utils from wherever they are run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
