"""Tutorial 6: token credit where a judge decides.

Goal: from prompts whose criteria no rule can check to credit for single tokens: sample and judge responses, have an
annotator quote the words that decide, train a discriminator on them, train a policy by RTT with it, and look at the
result. Runs offline on a CPU in two minutes; the model folders are those that `make demo` unpacks:

    python tutorials/06_token_credit_from_a_judge.py [MODEL_FOLDER]

Needs the extra `judge`: pip install 'rtt-lightning[judge]'. Each step is one command of a shell as well: the README
has the four of them.
"""

import json
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rtt_lightning.cli import answer
from rtt_lightning.datamodules.records import read_judged

MODEL = sys.argv[1] if len(sys.argv) > 1 else "models/SmolLM2-135M-Instruct"
ENCODER = Path(__file__).parents[1] / "models/all-MiniLM-L6-v2"
WORDS = {
    "It mentions a colour.": r"\b(?:red|blue|green|yellow|white|black|gold(?:en)?|brown|pink|gr[ae]y|colou?r)\w*",
    "It speaks of feelings.": r"\b(?:love|happy|joy|warm|calm|fear|sad|comfort|delight|feel|beaut)\w*",
}
TOPICS = ("tea", "the sea", "a cat", "snow", "bread", "an owl", "apples", "the moon", "rain", "honey", "a song", "wool")


# 1. Judge and annotator are models on any OpenAI-compatible server; both may be the same. So that this runs offline,
#    these lines take their place: they look for words. The judge is asked whether a criterion is met, the annotator,
#    which is told the verdict, which words decide it. Put the URL of a real one into URL and its name into NAME.
class Looks(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        system, question = (message["content"] for message in body["messages"][:2])
        fence = max(re.findall("^~{8,}$", question, re.MULTILINE), key=len)
        response, criteria = question.split(f"\n{fence}\n")[3:5]
        annotates, entries = '"labels"' in system, []
        for number, text in enumerate(re.findall(r"^\d+\. (.*)$", criteria, re.MULTILINE), start=1):
            pattern = next((each for known, each in WORDS.items() if known in text), "tea")  # of the trial question
            found = re.findall(pattern, response, re.IGNORECASE)
            label = {"scope": "local", "polarity": "positive", "segments": found}
            reason = f"found {', '.join(found) or 'nothing'}"
            entries.append({"criterion": number, "reason": reason} | (label if annotates else {"met": bool(found)}))
        content = json.dumps({"labels" if annotates else "verdicts": entries})
        usage = {"prompt_tokens": len(question) // 4, "completion_tokens": 30, "total_tokens": 30 + len(question) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "usage": usage}
        data = json.dumps(reply | {"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # calls that wait at a time


server = Server(("127.0.0.1", 0), Looks)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL, NAME = f"http://127.0.0.1:{server.server_address[1]}/v1", "word-finder"
folder = Path(tempfile.mkdtemp())

# 2. The data: prompts and criteria in words. What is no rule is left to the judge. `run.yaml` is a whole run, as
#    `rtt init run.yaml --judge URL --judge_model NAME` writes one; JSON is YAML.
rows = [{"prompt": f"Write a sentence about {topic}. {' '.join(WORDS)}", "criteria": [*WORDS]} for topic in TOPICS]
(folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
judge = {"model": NAME, "url": URL, "file": f"{folder}/judge.sqlite"}
run = {
    "model": {"init_args": {"model": MODEL, "lora": {"rank": 8}}},
    "data": {
        "source": {"class_path": "rtt_lightning.RecordFiles", "init_args": {"train": f"{folder}/train.jsonl"}},
        "view": {"class_path": "rtt_lightning.PromptWindows", "init_args": {"prompts": 2}},
    },
    "rollout": {
        "verifier": {
            "class_path": "rtt_lightning.Router",
            "init_args": {"judge": {"class_path": "rtt_lightning.LLMJudge", "init_args": judge}},
        },
        "sampling": {"n": 4, "max_new_tokens": 32, "temperature": 0.8},
        "evaluation": {"n": 3, "max_new_tokens": 32, "temperature": 0.8},
        "output": f"{folder}/responses",
    },
    "trainer": {"max_steps": 2, "accelerator": "cpu", "logger": False, "enable_checkpointing": False},
}
(folder / "run.yaml").write_text(json.dumps(run))
answer(["data", "check", f"{folder}/train.jsonl"])

# 3. Label. Without a file `rtt annotate` samples first, `evaluation.n` responses to each training prompt, and has them
#    judged. What the annotator quotes must stand in the response, or the criterion is set aside.
annotator = {"model": NAME, "url": URL, "file": f"{folder}/annotator.sqlite"}
labels = folder / "labels.parquet"
answer(["annotate", f"--config={folder}/run.yaml", f"--annotator={json.dumps(annotator)}", f"--output={labels}"])
print(labels.with_suffix(".md").read_text())

# 4. Train the discriminator: a small encoder that reads all criteria of a response in one pass. A real run has
#    thousands of responses.
answer(
    [
        "fit",
        "--config=discriminators/minilm.yaml",
        f"--model.init_args.model={ENCODER}",
        f"--data.source.init_args.train={labels}",
        "--trainer={max_epochs: 5, logger: false, accelerator: cpu, "
        f"callbacks: [{{class_path: rtt_lightning.Checkpoints, init_args: {{folder: {folder}/discriminator}}}}]}}",
    ]
)

# 5. Train the policy with it. `std_floor` leaves out relevance that hardly varies within a response, as of a criterion
#    that nothing in it decides: z-scores would make noise of it.
answer(
    [
        "fit",
        f"--config={folder}/run.yaml",
        "--config=methods/rtt.yaml",
        f"--rollout.relevance.init_args.checkpoint={folder}/discriminator",
        "--model.init_args.algorithm.init_args.std_floor=0.1",
        f"--rollout.output={folder}/windows",
    ]
)

# 6. Look: as a page for people, and here as a table. Are the words that decide the ones that rank first? Where the
#    verdict is "not met" no word decides, and nothing should stand out.
answer(["explain", f"{folder}/windows", f"--output={folder}/explain.html"])
print(f"{'criterion':<24}{'met':<7}most relevant words")
for item in read_judged(folder / "windows")[:4]:
    assert item.relevance is not None
    text, offsets = item.rollout.text, item.rollout.offsets
    for (criterion, verdict), relevance in zip(item.decisions, item.relevance, strict=True):
        best = sorted(range(len(relevance)), key=lambda place: -relevance[place])[:3]
        shown = (f"{text[slice(*offsets[place])].strip()!r} {relevance[place]:.2f}" for place in best)
        print(f"{criterion.text:<24}{verdict.met!s:<7}{', '.join(shown)}")

# Recap: rules know which words decide; a judge does not, an annotator quotes them, and a discriminator learns it from
# the quotations, so that in training no annotator is asked. Read `labels.md` before you train on labels: what was set
# aside, and why; with `--agreement 200` also how often the annotator agrees with rules. `docs/annotating.md` has more.
server.shutdown()
