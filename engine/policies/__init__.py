"""Policies of last resort: who bears a loss that neither the loser nor the fund can pay."""
