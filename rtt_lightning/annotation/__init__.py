"""Labelled data for the relevance discriminator from judged responses: who decided, and which words did."""
