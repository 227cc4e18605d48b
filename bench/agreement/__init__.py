"""What a service believes when exchanges lie: an oracle that knows the true price at every moment judges it."""
