"""NumPy: linear algebra through BLAS and LAPACK, FFT, random numbers, files, memory maps, threads."""
# behave: needs numpy
# behave: options --threads 8
import concurrent.futures
import io
import os
import tempfile

import numpy as np

rng = np.random.default_rng(1)
a = rng.standard_normal((200, 200))
print(np.allclose(a @ np.linalg.inv(a), np.eye(200)), round(float(np.linalg.slogdet(a)[1]), 6))
u, s, v = np.linalg.svd(a)
print(np.allclose(u * s @ v, a), np.round(np.linalg.eigvalsh(a + a.T)[:3], 6))
print(np.allclose(np.fft.ifft(np.fft.fft(a[0])), a[0]), np.round(np.fft.rfft(np.arange(8.0)), 6))
print(np.sort(rng.integers(0, 1000, 10)), np.unique(np.array([3, 1, 3])).tolist())
buffer = io.BytesIO()
np.savez_compressed(buffer, a=a, b=np.arange(5))
buffer.seek(0)
print((np.load(buffer)["a"] == a).all())
with tempfile.TemporaryDirectory() as folder:
    name = os.path.join(folder, "x.npy")
    np.save(name, a)
    print((np.load(name) == a).all(), np.load(name, mmap_mode="r")[3, 4] == a[3, 4])
    np.savetxt(os.path.join(folder, "x.txt"), a[:3, :3])
    print(np.allclose(np.loadtxt(os.path.join(folder, "x.txt")), a[:3, :3]))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print([round(x, 4) for x in pool.map(lambda k: float(np.trace(np.linalg.matrix_power(a / 20, k))), range(6))])
with np.errstate(all="raise"):
    for text in ("np.float64(1) / np.float64(0)", "np.sqrt(np.float64(-1))"):
        try:
            eval(text)
        except FloatingPointError as e:
            print(e)
print(np.datetime64("2024-02-29") + np.arange(2))
