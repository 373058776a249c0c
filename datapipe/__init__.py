"""datapipe"""
