"""Tables of accuracies that prejudge trains itself."""
