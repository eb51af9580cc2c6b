// Programs that try to get a pass without a right answer.
