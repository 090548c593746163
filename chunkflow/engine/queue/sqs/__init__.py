"""The queue over Amazon SQS, shared by pools of several clusters."""
