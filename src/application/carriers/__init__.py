"""How the messages of each channel are made and handed over; `processes/` has what is the same for all."""
