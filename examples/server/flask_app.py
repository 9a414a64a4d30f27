"""A small Flask application: gunicorn -b 127.0.0.1:8080 -w 2 flask_app:app"""

import os

from flask import Flask, abort, jsonify, request

app = Flask(__name__)


@app.get("/")
def index():
    return "hello from the enclave\n"


@app.get("/square/<int:n>")
def square(n):
    return jsonify(n=n, square=n * n, worker=os.getpid())


@app.post("/upper")
def upper():
    text = request.get_data(as_text=True)
    if not text:
        abort(400)
    return text.upper()
