"""How the messages of each channel are made and handed over. What is the same for all is in `processes/deliver.py`."""
