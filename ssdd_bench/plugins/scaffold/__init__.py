"""Write a new tokenizer's distribution: a plugin that works, to be changed into one's own."""
