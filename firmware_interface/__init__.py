"""What wearables say, turned into samples. Never hears of a twitch."""
