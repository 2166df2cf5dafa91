"""Claims that can be measured: one file a claim, each beside its reference in the same run.

`python -m bench` runs all, `python -m bench ghz help` those whose names hold a word, `--small`
reduces every size (to see that the files run; its figures mean nothing).
"""
