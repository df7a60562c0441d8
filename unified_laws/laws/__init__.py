"""The scaling law, its estimation and its intervals. numpy and scipy only."""
