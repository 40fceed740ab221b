"""How the book is made: notebooks are executed, woven with their prose, judged and built into a site."""
