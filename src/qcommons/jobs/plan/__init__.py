"""Plans: in how many smaller runs a job's runs are answered, what each way costs, and how the answers are put together.

Flow: Job -> rows (whole, batch, lightcone, cut), each priced -> *Plan* -> `pieces` -> workers here or
peers -> `combine` -> the outcomes of the runs that were asked.
A row is a file; `choose.py` prices all that apply and picks, and says why. `pieces.py` groups runs for worker calls.
"""

__all__: list[str] = []
