"""The functions of `archprof`: one for each command, which imports what it needs when it is called."""
