"""What holds of everybody's sessions beyond the grants of the migrations: rights and limits."""
