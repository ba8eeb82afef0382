"""Where rows come from: files, and how blocks of lines become columns."""
