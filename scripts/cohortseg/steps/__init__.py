"""One module for each rule of the workflow and each command of the command line: open, call, write, log."""
