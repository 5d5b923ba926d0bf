"""Programs of ours that publish for others, through the SDK as anybody else would."""
