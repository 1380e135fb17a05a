"""Card traffic with ground truth, made up: who lives there, what happens, how it arrives."""
