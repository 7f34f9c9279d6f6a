"""The page of `make insights`: what it says (`words`), its numbers (`report`), how it is drawn (`page`), how it stays fresh (`watch`)."""
