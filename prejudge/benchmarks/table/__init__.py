"""The table of trained accuracies: its file, its rows and columns, and where tables live."""
