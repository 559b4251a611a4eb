import sounddetect as sd

config = sd.Config.load("settings.yaml", {"training.epochs": 4, "data.path": ["recordings/OK", "recordings/NG"]})
def stop(event):
    if event["event"] == "epoch" and event["epoch"] == 2:
        training.stop()
training = sd.prepare_training(config, run="stopped", progress=False, listeners=[stop])
training.fit()
