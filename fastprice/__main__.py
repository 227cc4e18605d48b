"""`python -m fastprice` is `fastprice`."""

from fastprice.cli import main

main(prog_name="fastprice")
