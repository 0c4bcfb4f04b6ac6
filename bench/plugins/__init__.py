"""What people write, tasks and methods, and how they are found."""
