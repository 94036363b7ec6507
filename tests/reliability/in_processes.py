"""What `test_processes.py` starts, with ``fork``, ``spawn`` or ``loky``: classifiers elsewhere."""

import multiprocessing
import pickle
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import torch
from reliability.classifiers import TEXTS, ask, check_same, fit_all

OTHERS = [f"again {text}" for text in TEXTS]


def check(name, classifier, texts, expected):
    check_same(ask(classifier, texts), expected)
    return name


class Texts(torch.utils.data.Dataset):
    """Texts that the workers of a loader classify as they hand them out."""

    def __init__(self, classifier):
        self.classifier = classifier

    def __len__(self):
        return 40

    def __getitem__(self, i):
        return self.classifier.predict_proba([OTHERS[i]])[0]


def main(method):
    torch.set_num_threads(2)
    with TemporaryDirectory() as folder:
        classifiers = fit_all(Path(folder))
        work = []
        for name, classifier in classifiers.items():
            ask(classifier, TEXTS)  # all threads that libraries have are there now
            other = pickle.loads(pickle.dumps(classifier))  # `classifier` must not know the texts
            work.append((name, classifier, OTHERS, ask(other, OTHERS)))
        if method == "loky":
            found = joblib.Parallel(n_jobs=2)(joblib.delayed(check)(*one) for one in work)
        else:
            context = multiprocessing.get_context(method)
            if method == "fork":  # the memory is the parent's, and nothing is pickled
                processes = [context.Process(target=check, args=one) for one in work]
                for process in processes:
                    process.start()
                    process.join()
                found = [one[0] for one, p in zip(work, processes) if p.exitcode == 0]
            else:
                with context.Pool(2) as pool:
                    found = pool.starmap(check, work)
            embedding = classifiers["embedding"]
            loader = torch.utils.data.DataLoader(
                Texts(embedding), 8, num_workers=2, multiprocessing_context=method
            )
            said = np.concatenate([batch.numpy() for batch in loader])
            np.testing.assert_allclose(said, embedding.predict_proba(OTHERS[:40]), atol=1e-5)
        sys.stdout.write(" ".join(found))


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
    main(sys.argv[1])
