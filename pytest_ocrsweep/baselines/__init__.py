"""What is recorded, how it is compared, and the row that every comparison ends in."""
