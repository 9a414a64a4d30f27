"""As multiprocessing_fork.py with the start method spawn: each worker is a new Python."""
# behave: with multiprocessing_fork.py
import multiprocessing_fork

if __name__ == "__main__":
    multiprocessing_fork.main("spawn")
