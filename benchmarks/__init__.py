"""Side-by-side measurements: ``python -m benchmarks [case ...]``, or ``make bench``.

The peers that are measured beside us are in the extra ``bench``: ``pip install -e '.[bench]'``. One that is not
installed is told as missing, in its place in the table. ``--scale 0.1 --runs 1`` gives a quick look.
"""
