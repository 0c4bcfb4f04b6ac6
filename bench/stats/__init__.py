"""What a few seeds can say about the difference between methods and between camps: plain numbers in and out."""
