"""How the messages of each channel are made and handed over; `processes/deliver.py` has what is the same for all."""
