"""What a gradient and a run cost, beside what one would use instead: `make bench`, `make bench-full`."""
