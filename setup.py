"""What setup.cfg cannot say: README as a package index shows it, where relative links would lead nowhere.

They lead to the files of this version in the repository that setup.cfg calls Source.
"""

import re
from pathlib import Path

from setuptools import setup
from setuptools.config.setupcfg import read_configuration

metadata = read_configuration("setup.cfg")["metadata"]


def whole(link: re.Match[str]) -> str:
    """A link whose target is seen from anywhere; pictures as they are, and pages as the repository shows them."""
    kind = "raw" if link[1].endswith(".png") else "blob"
    return f"]({metadata['project_urls']['Source']}/{kind}/v{metadata['version']}/{link[1]})"


setup(long_description=re.sub(r"\]\((?!https?:|#)([^)]+)\)", whole, Path("README.md").read_text()))
