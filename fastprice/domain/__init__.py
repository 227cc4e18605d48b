"""What a price is: the pair, the quote, its age, and what can be wrong with it (standard library only)."""
