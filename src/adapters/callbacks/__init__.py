"""What providers tell us later, verified and put into our words."""
